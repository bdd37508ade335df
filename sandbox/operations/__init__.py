"""The operations of the control plane: one function each, from a store and a call to the body of the answer."""
