"""The shop's page, as HTML."""

from __future__ import annotations

from html import escape
from pathlib import Path

from examples.shop.models import PRODUCTS, Cart
from kiokupy import Session

STYLE = Path(__file__).with_name("style.css").read_bytes()


def front(session: Session, elsewhere: int) -> str:
    """Return the page for a visitor."""
    cart = session.get("cart") or Cart()
    user = session.principal
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The kiokupy shop</title>
<link rel="stylesheet" href="/style.css">
<header>
  <h1>The kiokupy shop</h1>
  <p>{f"Signed in as <strong>{escape(user)}</strong>." if user else "You are not signed in."}
     This is visit number <strong id="visits">{session["visits"]}</strong> of this session.</p>
  {_sign_out(session, elsewhere) if user else _sign_in(session)}
</header>
<main>
  <section aria-labelledby="products">
    <h2 id="products">Products</h2>
    <ul class="products">{"".join(_product(session, sku) for sku in PRODUCTS)}</ul>
  </section>
  <section aria-labelledby="cart">
    <h2 id="cart">Your cart</h2>
    {_cart(session, cart) if cart.lines else "<p>It is empty.</p>"}
  </section>
</main>
<footer><p>Everything here lives in your session: kill the server, start it again, reload this page.</p></footer>
</html>
"""


def _form(session: Session, action: str, fields: str, button: str) -> str:
    return (
        f'<form method="post" action="{action}">'
        f'<input type="hidden" name="csrf" value="{session.csrf_token()}">{fields}<button>{button}</button></form>'
    )


def _sign_in(session: Session) -> str:
    fields = '<label>Name <input name="name" required maxlength="40" autocomplete="username"></label>'
    return _form(session, "/login", fields, "Sign in") + "<p><small>Any name will do: this is a demo.</small></p>"


def _sign_out(session: Session, elsewhere: int) -> str:
    others = _form(session, "/end-others", "", f"Sign out elsewhere ({elsewhere})") if elsewhere else ""
    return _form(session, "/logout", "", "Sign out") + others


def _product(session: Session, sku: str) -> str:
    product = PRODUCTS[sku]
    add = _form(session, "/add", f'<input type="hidden" name="sku" value="{sku}">', "Add to cart")
    return f"<li><span>{escape(product.name)}</span> <span>{product.price} €</span> {add}</li>"


def _cart(session: Session, cart: Cart) -> str:
    rows = ""
    for line in cart.lines:
        remove = _form(session, "/remove", f'<input type="hidden" name="sku" value="{line.product.sku}">', "Remove")
        rows += f"<tr><td>{escape(line.product.name)}<td>{line.quantity}<td>{line.total} €<td>{remove}</tr>"
    return (
        "<table><thead><tr><th>Product<th>Quantity<th>Total<th><span class='hidden'>Remove</span></thead>"
        f"<tbody>{rows}</tbody><tfoot><tr><td>Together<td><td>{cart.total} €<td></tr></tfoot></table>"
    )
