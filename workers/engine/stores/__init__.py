"""Where bundles go: one module per kind of store, all behind `base.Store`."""
