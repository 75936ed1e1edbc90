"""Layer 4: forces, stress, Hessians and Hessian-vector products of any energy function of an atom graph."""
