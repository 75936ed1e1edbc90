// Convolution with tabulated radial weights: the Python border.
#include "tabulated_convolution.hpp"
#include "convolution_bindings.hpp"

using namespace atomsym;

namespace {

template <class T> std::int64_t path_size(std::int64_t channels) {
    return (channels + table_block - 1) / table_block * table_block * table_coefficients<T>;
}

// Each table comes as its address and its number of intervals.
template <class T>
std::vector<RadialTable<T>> make_tables(const Addresses &tables, double start, double stop) {
    std::vector<RadialTable<T>> result;
    for (std::size_t i = 0; i + 1 < tables.size(); i += 2)
        result.push_back({input<T>(tables[i]), std::int64_t(tables[i + 1]), T(tables[i + 1] / (stop - start))});
    return result;
}

template <class T>
void forward(Address plan, const Addresses &wiring, const Numbers &sizes,
             const Addresses &tables, Address kind, double start, double stop,
             Address x, Address edge, Address distance, Address out, int n_threads) {
    const ProductCall call = product_call(wiring, sizes, n_threads);
    const ProductPlan &product = *input<ProductPlan>(plan);
    const std::vector<RadialTable<T>> table = make_tables<T>(tables, start, stop);
    const RadialTables<T> radial{table.data(), input<std::int64_t>(kind), input<T>(distance), T(start), T(stop),
                                 path_size<T>(call.channels), path_size<T>(call.channels) * product.n_weights};
    nb::gil_scoped_release release;
    tabulated_forward<T>(product, call, radial, input<T>(x), input<T>(edge), output<T>(out));
}

template <class T>
void gradients(Address plan, const Addresses &wiring, const Numbers &sizes,
               const Addresses &tables, Address kind, double start, double stop,
               Address g, Address x, Address edge, Address distance, Address grad_x, Address grad_edge,
               Address grad_distance, bool add, int n_threads) {
    const ProductCall call = product_call(wiring, sizes, n_threads);
    const ProductPlan &product = *input<ProductPlan>(plan);
    const std::vector<RadialTable<T>> table = make_tables<T>(tables, start, stop);
    const RadialTables<T> radial{table.data(), input<std::int64_t>(kind), input<T>(distance), T(start), T(stop),
                                 path_size<T>(call.channels), path_size<T>(call.channels) * product.n_weights};
    nb::gil_scoped_release release;
    tabulated_gradients<T>(product, call, radial, input<T>(g), input<T>(x), input<T>(edge), output<T>(grad_x),
                           output<T>(grad_edge), output<T>(grad_distance), add);
}

}  // namespace

void bind_tabulated_convolution(nb::module_ &m) {
    m.attr("table_block") = table_block;
    m.def("tabulated_forward_float32", &forward<float>);
    m.def("tabulated_forward_float64", &forward<double>);
    m.def("tabulated_gradients_float32", &gradients<float>);
    m.def("tabulated_gradients_float64", &gradients<double>);
}
