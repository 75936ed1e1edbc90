#include "bindings.hpp"

void bind_segments(nb::module_ &) {}
