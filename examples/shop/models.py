"""What a cart is made of: plain classes, as the shop would have without kiokupy."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True)
class Product:
    sku: str
    name: str
    price: Decimal


@dataclass
class Line:
    product: Product
    quantity: int = 1

    @property
    def total(self) -> Decimal:
        return self.product.price * self.quantity


@dataclass
class Cart:
    lines: list[Line] = field(default_factory=list)

    def add(self, product: Product) -> None:
        for line in self.lines:
            if line.product == product:
                line.quantity += 1
                return
        self.lines.append(Line(product))

    def remove(self, sku: str) -> None:
        self.lines = [line for line in self.lines if line.product.sku != sku]

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal(0))


PRODUCTS = {
    product.sku: product
    for product in (
        Product("notebook", "Notebook, dotted", Decimal("6.50")),
        Product("pencil", "Pencil, soft", Decimal("1.20")),
        Product("lamp", "Desk lamp", Decimal("39.00")),
        Product("stamp", "Postage stamp", Decimal("0.95")),
    )
}
