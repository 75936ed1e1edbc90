#include "bindings.hpp"

void bind_spherical_harmonics(nb::module_ &) {}
