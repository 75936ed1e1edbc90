#include "bindings.hpp"

void bind_symmetric_contraction(nb::module_ &) {}
