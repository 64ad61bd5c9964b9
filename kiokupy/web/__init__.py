"""Web adapters: they translate, and decide nothing."""
