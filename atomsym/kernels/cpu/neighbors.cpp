#include "bindings.hpp"

void bind_neighbors(nb::module_ &) {}
