#include "bindings.hpp"

void bind_tensor_product(nb::module_ &) {}
