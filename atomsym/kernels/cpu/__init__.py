"""C++ sources and the compiled extension modules, one per instruction-set level; see ``atomsym.kernels.native``."""
