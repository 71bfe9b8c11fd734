"""The attribution methods, one file a method or close family; they use `tsattr.core` only."""
