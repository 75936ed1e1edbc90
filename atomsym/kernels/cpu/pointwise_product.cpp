// Products of features by rows: factors are sampled, multiplied row by row and projected, for a block of channels at a
// time; rows exist in scratch memory only.
//
// The form with a tensor in every slot, sum over rows of the product of all samples, is linear in each: the kernel
// leaves out one slot, which is a factor's derivative as well as the product itself. At low degrees most couplings of
// two factors vanish; then the sum over those that do not is shorter than the way by the rows.
#include "pointwise_tables.hpp"
#include <algorithm>
#include <memory>

namespace atomsym {
namespace {

// result[k] = sum over the terms start[k] ... start[k + 1] of coefficient x[first] y[second].
template <class T> struct CouplingList {
    std::vector<int> start, first, second;
    std::vector<T> coefficient;
};

// Slots are those of the factors, then that of the result. A slot is left out by the transposed map `project`, which
// has the weights of the rows in it. With `cross` the rows are those of three components one after the other.
template <class T> struct PointwiseProduct {
    bool cross;
    int rows, middle;
    std::vector<Sampling<T>> sample, project;
    std::vector<CouplingList<T>> couplings;  // of each slot that is left out; empty: by the rows
};

template <class T, int V, class Access>
inline void couple(const CouplingList<T> &list, const T *x, const T *y, T *result, std::int64_t stride,
                   Access access) {
    constexpr int L = lanes<T>;
    for (std::size_t k = 0; k + 1 < list.start.size(); ++k, result += stride) {
        Vec<T> sum[V] = {};
        for (int t = list.start[k]; t < list.start[k + 1]; ++t) {
            const T *const a = x + list.first[t] * stride, *const b = y + list.second[t] * stride;
            const Vec<T> coefficient = broadcast<T>(list.coefficient[t]);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[v] += (coefficient * access.get(a + v * L)) * access.get(b + v * L);
        }
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) access.put(result + v * L, sum[v]);
    }
}

template <class T, int V> inline void cross_rows(T *x, const T *y, int points) {
    constexpr int L = lanes<T>, W = V * L;
    const std::int64_t next = std::int64_t(points) * W;
    for (std::int64_t i = 0; i < next; i += L) {
        const Vec<T> x0 = load(x + i), x1 = load(x + next + i), x2 = load(x + 2 * next + i);
        const Vec<T> y0 = load(y + i), y1 = load(y + next + i), y2 = load(y + 2 * next + i);
        store(x + i, x1 * y2 - x2 * y1);
        store(x + next + i, x2 * y0 - x0 * y2);
        store(x + 2 * next + i, x0 * y1 - x1 * y0);
    }
}

// The slot `out` of the form; factors are the other slots, from the next one on and round.
template <class T>
void leave_out(const PointwiseProduct<T> &plan, int out, std::int64_t n, std::int64_t channels,
               const std::vector<const T *> &factors, const std::vector<std::int64_t> &row, T *result, int n_threads) {
    const bool by_couplings = !plan.couplings.empty();
    const int slots = int(plan.sample.size()), widest = by_couplings ? row_vectors : widest_block<T>(plan.rows);
    const std::int64_t block = std::int64_t(widest) * lanes<T>;
    const Sampling<T> &last = plan.project[out];
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        Scratch<T> values(std::size_t(plan.rows * block + 1)), middle(std::size_t(plan.middle * block + 1));
        Scratch<T> other(std::size_t(plan.cross ? plan.rows * block + 1 : 1));
#pragma omp for schedule(static)
        for (std::int64_t i = 0; i < n; ++i)
            for_channels<T>(channels, widest, [&](auto vectors, std::int64_t c, auto access) {
                constexpr int V = decltype(vectors)::value;
                const auto factor = [&](int f) { return factors[f] + i * row[f] + c; };
                T *const target = result + i * last.dim * channels + c;
                if (by_couplings)
                    return couple<T, V>(plan.couplings[out], factor(0), factor(1), target, channels, access);
                const auto slot = [&](int f) -> const Sampling<T> & { return plan.sample[(out + 1 + f) % slots]; };
                sample<T, V>(slot(0), factor(0), channels, middle.get(), values.get(), access, WholeVector<T>{});
                if (plan.cross) {
                    sample<T, V>(slot(1), factor(1), channels, middle.get(), other.get(), access, WholeVector<T>{});
                    cross_rows<T, V>(values.get(), other.get(), plan.rows / 3);
                } else {
                    for (int f = 1; f + 1 < slots; ++f)
                        sample<T, V>(slot(f), factor(f), channels, middle.get(), values.get(), access,
                                     TimesVector<T>{});
                }
                project<T, V>(last, values.get(), middle.get(), target, channels, access);
            });
    }
}

// The address of a plan that lives as long as the process; Python keeps one a product and dtype.
template <class T>
Address make_plan(bool cross, const std::vector<SamplingTable> &sample, const std::vector<SamplingTable> &project,
                  const std::vector<CouplingTable> &couplings) {
    static std::vector<std::unique_ptr<PointwiseProduct<T>>> plans;
    auto plan = std::make_unique<PointwiseProduct<T>>(PointwiseProduct<T>{cross, 0, 0, {}, {}, {}});
    for (const auto &[start, first, second, coefficient] : couplings) {
        plan->couplings.push_back({start, first, second, {}});
        for (const double value : coefficient) plan->couplings.back().coefficient.push_back(T(value));
    }
    for (const auto &table : sample) plan->sample.push_back(sampling_of<T>(table));
    for (const auto &table : project) plan->project.push_back(sampling_of<T>(table));
    for (const auto *list : {&plan->sample, &plan->project})
        for (const Sampling<T> &sampling : *list) {
            plan->rows = std::max(plan->rows, sampling.rows);
            plan->middle = std::max(plan->middle, sampling.middle);
        }
    plans.push_back(std::move(plan));
    return reinterpret_cast<Address>(plans.back().get());
}

template <class T>
void call(Address plan, int out, std::int64_t n, std::int64_t channels, const std::vector<Address> &data,
          const std::vector<std::int64_t> &row, Address result, int n_threads) {
    std::vector<const T *> factors;
    for (const Address address : data) factors.push_back(input<T>(address));
    nb::gil_scoped_release release;
    leave_out<T>(*input<PointwiseProduct<T>>(plan), out, n, channels, factors, row, output<T>(result), n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_pointwise_product(nb::module_ &m) {
    using namespace atomsym;
    m.def("pointwise_product_plan_float32", &make_plan<float>);
    m.def("pointwise_product_plan_float64", &make_plan<double>);
    m.def("pointwise_product_float32", &call<float>);
    m.def("pointwise_product_float64", &call<double>);
}
