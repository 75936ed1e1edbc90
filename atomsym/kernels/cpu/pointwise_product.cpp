// Products of features by rows: factors are sampled, multiplied row by row (or as matrices, whose entries are the rows)
// and projected, for a block of channels at a time; rows exist in scratch memory only.
//
// The form with a tensor in every slot, sum over rows of the product of all samples, is linear in each. The product
// leaves out the slot of the result, its gradients those of the factors, which then share their samples. At low degrees
// most couplings of two factors vanish; then the sum over those that do not is shorter than the way by the rows.
#include "pointwise_joins.hpp"
#include "pointwise_tables.hpp"
#include <algorithm>
#include <cmath>
#include <memory>

namespace atomsym {
namespace {

constexpr int most_slots = 5;
constexpr int coupling_vectors = vector_registers >= 32 ? 8 : 4;  // sums over pairs and over terms are in registers

// result[k] = sum over the pairs p of k, start[k] <= p < start[k + 1], of
//             x[first[p]] * sum over the terms t of p, term[p] <= t < term[p + 1], of coefficient[t] y[second[t]].
template <class T> struct CouplingList {
    std::vector<int> start, first, term, second;
    std::vector<T> coefficient;
};

// Slots are those of the factors, then that of the result. A slot is left out by the transposed map `project`, which
// has the weights of the rows in it. For Join::cross the rows are those of three components one after the other, for
// matrices their entries row by row.
template <class T> struct PointwiseProduct {
    Join join;
    int rows, middle;
    std::vector<Sampling<T>> sample, project;
    std::vector<CouplingList<T>> couplings;  // of each slot that is left out; empty: by the rows
};

template <class T> int matrix_size(const PointwiseProduct<T> &plan) { return int(std::lround(std::sqrt(plan.rows))); }

// Memory that the next row needs, asked for piece by piece while this one is worked on: bursts would wait for each
// other. Where it is written it is read, too.
template <class T> class Ahead {
  public:
    explicit Ahead(int pieces) : pieces_(pieces) {}
    void add(const T *row, std::int64_t size) {
        constexpr std::int64_t line = 64 / std::int64_t(sizeof(T));
        place_[count_] = row;
        lines_[count_++] = int((size + line * pieces_ - 1) / (line * pieces_));
    }
    // Into the second cache: the first one is full of rows.
    void fetch() {
        if (pieces_-- <= 0) return;
        for (int k = 0; k < count_; ++k)
            for (int i = 0; i < lines_[k]; ++i, place_[k] += 64 / sizeof(T)) __builtin_prefetch(place_[k], 0, 2);
    }

  private:
    const T *place_[2 * most_slots];
    int lines_[2 * most_slots], pieces_, count_ = 0;
};

// The sum over the terms of a pair.
template <class T, int V, class Access>
inline void sum_terms(const CouplingList<T> &list, int pair, const T *y, std::int64_t stride, Access access,
                      Vec<T> (&sum)[V]) {
    constexpr int L = lanes<T>;
    int t = list.term[pair];
    const T *b = y + list.second[t] * stride;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = list.coefficient[t] * access.get(b + v * L);
    for (++t; t < list.term[pair + 1]; ++t) {
        b = y + list.second[t] * stride;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) sum[v] += list.coefficient[t] * access.get(b + v * L);
    }
}

template <class T, int V, class Access>
inline void couple(const CouplingList<T> &list, const T *x, const T *y, T *result, std::int64_t stride,
                   Ahead<T> &ahead, Access access) {
    constexpr int L = lanes<T>;
    for (std::size_t k = 0; k + 1 < list.start.size(); ++k, result += stride) {
        ahead.fetch();
        Vec<T> sum[V] = {};
        for (int pair = list.start[k]; pair < list.start[k + 1]; ++pair) {
            Vec<T> inner[V];
            sum_terms<T, V>(list, pair, y, stride, access, inner);
            const T *const a = x + list.first[pair] * stride;
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sum[v] += inner[v] * access.get(a + v * L);
        }
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) access.put(result + v * L, sum[v]);
    }
}

// The slots of two factors x, y at once, by the couplings of that of x: their pairs are those of components of x and y.
template <class T, int V, class Access>
inline void couple_both(const CouplingList<T> &list, const T *x, const T *y, const T *g, T *grad_x, T *grad_y,
                        int y_dim, std::int64_t stride, Ahead<T> &ahead, Access access) {
    constexpr int L = lanes<T>;
    for (int j = 0; j < y_dim; ++j)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) access.put(grad_y + j * stride + v * L, Vec<T>{});
    for (std::size_t i = 0; i + 1 < list.start.size(); ++i, x += stride, grad_x += stride) {
        ahead.fetch();
        Vec<T> own[V], sum[V] = {};
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) own[v] = access.get(x + v * L);
        for (int pair = list.start[i]; pair < list.start[i + 1]; ++pair) {
            Vec<T> inner[V];
            sum_terms<T, V>(list, pair, g, stride, access, inner);
            const std::int64_t place = list.first[pair] * stride;
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                sum[v] += inner[v] * access.get(y + place + v * L);
                access.put(grad_y + place + v * L, access.get(grad_y + place + v * L) + inner[v] * own[v]);
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) access.put(grad_x + v * L, sum[v]);
    }
}

// What a call works on: factors, and for gradients that of the result after them; elements from one row of each to the
// next, 0 where all are the same; results, of which those whose address is null are not wanted.
template <class T> struct Rows {
    std::int64_t n, channels;
    std::vector<const T *> tensor;
    std::vector<std::int64_t> step;
    std::vector<T *> result;
    int n_threads;
};

// The rows of all slots for a block of channels, and of a product of them.
template <class T> struct RowScratch {
    std::int64_t size;
    Scratch<T> all, middle;
    RowScratch(const PointwiseProduct<T> &plan, std::int64_t block)
        : size(plan.rows * block), all(std::size_t((std::int64_t(plan.sample.size()) + 1) * size + 1)),
          middle(std::size_t(plan.middle * block + 1)) {}
    T *slot(int s) const { return all.get() + s * size; }
};

// Leaves out the slot `out`; all others have been sampled.
template <class T, int V, class Access>
void project_others(const PointwiseProduct<T> &plan, int out, const RowScratch<T> &scratch, T *target,
                    std::int64_t channels, Ahead<T> &ahead, Access access) {
    constexpr int L = lanes<T>;
    const int slots = int(plan.sample.size());
    const Sampling<T> &map = plan.project[std::size_t(out)];
    const std::int64_t size = std::int64_t(map.rows) * V * L;
    const auto other = [&](int step) { return scratch.slot((out + step) % slots); };
    T *const values = scratch.slot(slots);
    if (plan.join == Join::cross) {
        cross_rows<T, V>(other(1), other(2), values, map.rows / 3);
    } else if (plan.join != Join::product) {
        commute(other(1), other(2), values, matrix_size(plan), V * L, plan.join == Join::commutator,
                [&] { ahead.fetch(); });
    } else {
        const T *a = other(1);
        for (int step = 2; step < slots; ++step, a = values) {
            const T *const b = other(step);
            for (std::int64_t i = 0; i < size; i += L) store(values + i, load(a + i) * load(b + i));
        }
    }
    project<T, V>(map, values, scratch.middle.get(), target, channels, access);
}

// What is left out: the slot of the result, or the factors that have a result.
template <class T> std::vector<int> left_out(const PointwiseProduct<T> &plan, const Rows<T> &on, bool gradients) {
    const int last = int(plan.sample.size()) - 1;
    if (!gradients) return {last};
    std::vector<int> slots;
    for (int s = 0; s < last; ++s)
        if (on.result[std::size_t(s)]) slots.push_back(s);
    return slots;
}

template <class T>
void by_couplings(const PointwiseProduct<T> &plan, const Rows<T> &on, const std::vector<int> &out) {
    const std::int64_t C = on.channels;
    std::int64_t size[3];
    for (int s = 0; s < 3; ++s) size[s] = plan.project[std::size_t(s)].dim * C;
    const auto row = [&](int s, std::int64_t i) { return on.tensor[std::size_t(s)] + i * on.step[std::size_t(s)]; };
    const bool both = out.size() == 2;
    const int first = both ? 0 : (out[0] + 1) % 3, second = both ? 1 : (out[0] + 2) % 3;
    T *const result = on.result[on.result.size() == 1 ? 0 : std::size_t(out[0])];
#pragma omp parallel for schedule(static) num_threads(on.n_threads) if (on.n_threads > 1)
    for (std::int64_t i = 0; i < on.n; ++i) {
        Ahead<T> ahead(plan.project[std::size_t(out[0])].dim);
        if (i + 1 < on.n) {
            for (int s = 0; s < 3; ++s)
                if ((both || s != out[0]) && on.step[std::size_t(s)]) ahead.add(row(s, i + 1), size[s]);
            ahead.add(result + (i + 1) * size[out[0]], size[out[0]]);
            if (both) ahead.add(on.result[1] + (i + 1) * size[1], size[1]);
        }
        for_channels<T, coupling_vectors>(C, coupling_vectors, [&](auto vectors, std::int64_t c, auto access) {
            constexpr int V = decltype(vectors)::value;
            T *const target = result + i * size[out[0]] + c;
            if (both)
                couple_both<T, V>(plan.couplings[0], row(0, i) + c, row(1, i) + c, row(2, i) + c, target,
                                  on.result[1] + i * size[1] + c, plan.project[1].dim, C, ahead, access);
            else
                couple<T, V>(plan.couplings[std::size_t(out[0])], row(first, i) + c, row(second, i) + c, target, C,
                             ahead, access);
        });
    }
}

template <class T> void by_rows(const PointwiseProduct<T> &plan, const Rows<T> &on, const std::vector<int> &out) {
    const int slots = int(plan.sample.size()), widest = widest_block<T>(plan.rows);
    const std::int64_t channels = on.channels, block = std::int64_t(widest) * lanes<T>;
    const bool matrices = plan.join == Join::anticommutator || plan.join == Join::commutator;
    const auto sampled = [&](int s) { return out.size() > 1 || out[0] != s; };
    int parts = (matrices ? commute_tiles(matrix_size(plan)) : 0) * int(out.size());
    for (int s = 0; s < slots; ++s)
        if (sampled(s))
            parts += int(plan.sample[std::size_t(s)].first.size() + plan.sample[std::size_t(s)].second.size());
    const int pieces = int((channels + block - 1) / block) * parts;
    const auto row = [&](int s, std::int64_t i) { return on.tensor[std::size_t(s)] + i * on.step[std::size_t(s)]; };
    const auto size = [&](int s) { return plan.project[std::size_t(s)].dim * channels; };
    const auto result = [&](int s) { return on.result[on.result.size() == 1 ? 0 : std::size_t(s)]; };
#pragma omp parallel num_threads(on.n_threads) if (on.n_threads > 1)
    {
        const RowScratch<T> scratch(plan, block);
#pragma omp for schedule(static)
        for (std::int64_t i = 0; i < on.n; ++i) {
            Ahead<T> ahead(pieces);
            if (i + 1 < on.n) {
                for (int s = 0; s < slots; ++s)
                    if (sampled(s) && on.step[std::size_t(s)]) ahead.add(row(s, i + 1), size(s));
                for (const int s : out) ahead.add(result(s) + (i + 1) * size(s), size(s));
            }
            for_channels<T>(channels, widest, [&](auto vectors, std::int64_t c, auto access) {
                constexpr int V = decltype(vectors)::value;
                for (int s = 0; s < slots; ++s)
                    if (sampled(s)) {
                        sample<T, V>(plan.sample[std::size_t(s)], row(s, i) + c, channels, scratch.middle.get(),
                                     scratch.slot(s), access, [&] { ahead.fetch(); });
                    }
                for (const int s : out)
                    project_others<T, V>(plan, s, scratch, result(s) + i * size(s) + c, channels, ahead, access);
            });
        }
    }
}

// The address of a plan that lives as long as the process; Python keeps one a product and dtype.
template <class T>
Address make_plan(int join, const std::vector<SamplingTable> &sample, const std::vector<SamplingTable> &project,
                  const std::vector<CouplingTable> &couplings) {
    static std::vector<std::unique_ptr<PointwiseProduct<T>>> plans;
    auto plan = std::make_unique<PointwiseProduct<T>>(PointwiseProduct<T>{Join(join), 0, 0, {}, {}, {}});
    for (const auto &[start, first, term, second, coefficient] : couplings) {
        plan->couplings.push_back({start, first, term, second, {}});
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
void call(Address plan, bool gradients, std::int64_t n, std::int64_t channels, const std::vector<Address> &data,
          const std::vector<std::int64_t> &step, const std::vector<Address> &results, int n_threads) {
    Rows<T> on{n, channels, {}, step, {}, n_threads};
    for (const Address address : data) on.tensor.push_back(input<T>(address));
    for (const Address address : results) on.result.push_back(output<T>(address));
    nb::gil_scoped_release release;
    const auto &product = *input<PointwiseProduct<T>>(plan);
    const std::vector<int> out = left_out(product, on, gradients);
    if (out.empty()) return;
    if (product.couplings.empty())
        by_rows(product, on, out);
    else
        by_couplings(product, on, out);
}

template <class T>
void call_forward(Address plan, std::int64_t n, std::int64_t channels, const std::vector<Address> &data,
                  const std::vector<std::int64_t> &step, const std::vector<Address> &results, int n_threads) {
    call<T>(plan, false, n, channels, data, step, results, n_threads);
}

template <class T>
void call_gradients(Address plan, std::int64_t n, std::int64_t channels, const std::vector<Address> &data,
                    const std::vector<std::int64_t> &step, const std::vector<Address> &results, int n_threads) {
    call<T>(plan, true, n, channels, data, step, results, n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_pointwise_product(nb::module_ &m) {
    using namespace atomsym;
    m.def("pointwise_product_plan_float32", &make_plan<float>);
    m.def("pointwise_product_plan_float64", &make_plan<double>);
    m.def("pointwise_product_forward_float32", &call_forward<float>);
    m.def("pointwise_product_forward_float64", &call_forward<double>);
    m.def("pointwise_product_gradients_float32", &call_gradients<float>);
    m.def("pointwise_product_gradients_float64", &call_gradients<double>);
}
