// One Python module per instruction-set level; each kernel file adds its functions here.
#include "bindings.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

NB_MODULE(ATOMSYM_MODULE, m) {
    m.doc() = "atomsym CPU kernels (internal; the public functions are in atomsym.kernels)";
    m.def("has_openmp", [] {
#ifdef _OPENMP
        return true;
#else
        return false;
#endif
    });
    m.def("max_threads", [] {
#ifdef _OPENMP
        return omp_get_max_threads();
#else
        return 1;
#endif
    });
    bind_neighbors(m);
    bind_spherical_harmonics(m);
    bind_tensor_product(m);
    bind_tabulated_convolution(m);
    bind_symmetric_contraction(m);
    bind_segments(m);
    bind_matrix_product(m);
    bind_silu(m);
    bind_irreps_linear(m);
    bind_arithmetic_peak(m);
    bind_recycled_memory(m);
    bind_so2_convolution(m);
    bind_so2_rows(m);
    bind_so2_linear(m);
    bind_so2_gate(m);
    bind_so2_frames(m);
    bind_merged_norm(m);
    bind_pointwise_product(m);
    bind_pointwise_convolution(m);
    bind_hessian_head(m);
}
