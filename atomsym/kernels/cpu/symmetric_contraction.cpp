#include "symmetric_contraction.hpp"

#include <algorithm>
#include <memory>
#include <type_traits>

#include "bindings.hpp"

namespace atomsym {
namespace {

// Nodes of one species that share a folding of the weights. Fixed, so that sums over nodes do not depend on threads.
constexpr std::int64_t chunk_size = 64;

struct Chunk {
    std::int64_t species, first, count;  // positions in the species-sorted node order
};

// Node numbers sorted by species (stable), and their chunks.
struct NodeOrder {
    std::vector<std::int64_t> nodes;
    std::vector<Chunk> chunks;

    NodeOrder(const std::int64_t *species, std::int64_t n_nodes, std::int64_t n_species) : nodes(n_nodes) {
        std::vector<std::int64_t> start(n_species + 1, 0);
        for (std::int64_t n = 0; n < n_nodes; ++n) ++start[species[n] + 1];
        for (std::int64_t s = 0; s < n_species; ++s) start[s + 1] += start[s];
        for (std::int64_t s = 0; s < n_species; ++s)
            for (std::int64_t first = start[s]; first < start[s + 1]; first += chunk_size)
                chunks.push_back({s, first, std::min(chunk_size, start[s + 1] - first)});
        std::vector<std::int64_t> next(start.begin(), start.end() - 1);
        for (std::int64_t n = 0; n < n_nodes; ++n) nodes[next[species[n]]++] = n;
    }
};

// Scratch that keeps vectors aligned.
template <class T> class Scratch {
  public:
    explicit Scratch(std::size_t n) : raw_(new unsigned char[n * sizeof(Vec<T>) + ATOMSYM_VECTOR_BYTES]) {
        auto address = reinterpret_cast<std::uintptr_t>(raw_.get());
        data_ = reinterpret_cast<Vec<T> *>((address + ATOMSYM_VECTOR_BYTES - 1) / ATOMSYM_VECTOR_BYTES * ATOMSYM_VECTOR_BYTES);
    }
    Vec<T> *get() const { return data_; }

  private:
    std::unique_ptr<unsigned char[]> raw_;
    Vec<T> *data_;
};

template <class T> inline Vec<T> load_part(const T *p, int width) {
    return width == lanes<T> ? load(p) : load_first(p, width);
}
template <class T> inline void store_part(T *p, Vec<T> v, int width) {
    if (width == lanes<T>) store(p, v);
    else store_first(p, v, width);
}

// Evaluates blocks of R nodes of one species and one vector of channels. K directions; the coefficients have C jet
// components: 1 if no direction changes the weights, else 2^K.
template <class T, int K, int C> class BlockKernel {
    static constexpr int n_jets = 1 << K;
    static constexpr int max_block = K == 0 ? 8 : (K == 1 ? 4 : 1);

  public:
    BlockKernel(const ContractionTable &table, const ContractionCall<T> &call)
        : t_(table), call_(call), coefficients_(std::size_t(table.n_entries()) * C),
          coefficient_gradient_(call.weight_gradient ? table.n_entries() : 0),
          products_(std::size_t(table.n_products()) * n_jets * max_block),
          adjoints_(std::size_t(call.value ? 0 : table.n_products()) * n_jets * max_block),
          rows_(std::size_t(std::max(table.dim_out, table.dim_in) + table.dim_out) * max_block) {}

    // value and gradients of a chunk; partial receives the chunk's (n_paths, channels) weight gradient.
    void run(std::int64_t batch, const Chunk &chunk, const std::int64_t *nodes, int channel, int width, T *partial) {
        batch_ = batch, channel_ = channel, width_ = width;
        fold(chunk.species);
        if (partial) std::fill_n(coefficient_gradient_.get(), t_.n_entries(), Vec<T>{});
        blocks<max_block>(nodes, chunk.count);
        if (partial) unfold(partial);
    }

  private:
    const ContractionTable &t_;
    const ContractionCall<T> &call_;
    Scratch<T> coefficients_, coefficient_gradient_, products_, adjoints_, rows_;
    std::int64_t batch_ = 0;
    int channel_ = 0, width_ = 0;

    // As many blocks of R nodes as there are, then of half the size.
    template <int R> void blocks(const std::int64_t *nodes, std::int64_t count) {
        for (; count >= R; count -= R, nodes += R) {
            for (std::int64_t r = R; r < std::min<std::int64_t>(2 * R, count); ++r) prefetch(nodes[r]);
            call_.value ? value<R>(nodes) : gradient<R>(nodes);
        }
        if constexpr (R > 1) blocks<R / 2>(nodes, count);
    }

    // Components of a node lie further apart than the hardware looks ahead: ask for the next block's while computing.
    void prefetch(std::int64_t node) const {
        prefetch(row(call_.features, node, t_.dim_in), t_.dim_in);
        for (int k = 0; k < K; ++k) prefetch(row(call_.feature_direction[k], node, t_.dim_in), t_.dim_in);
        if (!call_.value) prefetch(row(call_.cotangent, node, t_.dim_out), t_.dim_out);
    }
    void prefetch(const T *row, int dim) const {
        for (int i = 0; i < dim; ++i) __builtin_prefetch(row + i * call_.channels);
    }

    const T *row(const Operand<T> &operand, std::int64_t index, int dim) const {
        return operand.data + batch_ * operand.batch_stride + index * dim * call_.channels + channel_;
    }
    Vec<T> read(const T *row, int component) const { return load_part(row + component * call_.channels, width_); }

    // c_e = sum_p fold_ep W_p, and its derivatives along the directions: W is linear in each, so those of two vanish.
    void fold(std::int64_t species) {
        for (int s = 0; s < C; ++s) {
            const bool single = (s & (s - 1)) == 0;
            const Operand<T> &operand = s == 0 ? call_.weights : call_.weight_direction[s >> 1];
            const T *w = single ? row(operand, species, t_.n_paths) : nullptr;
            for (int e = 0; e < t_.n_entries(); ++e) {
                Vec<T> sum{};
                if (single)
                    for (int f = t_.fold_start[e]; f < t_.fold_start[e + 1]; ++f)
                        sum += T(t_.fold_coefficient[f]) * read(w, t_.fold_path[f]);
                coefficients_.get()[std::size_t(e) * C + s] = sum;
            }
        }
    }

    void unfold(T *partial) const {
        for (int e = 0; e < t_.n_entries(); ++e) {
            const Vec<T> g = coefficient_gradient_.get()[e];
            for (int f = t_.fold_start[e]; f < t_.fold_start[e + 1]; ++f) {
                T *w = partial + std::int64_t(t_.fold_path[f]) * call_.channels + channel_;
                store_part(w, load_part(w, width_) + T(t_.fold_coefficient[f]) * g, width_);
            }
        }
    }

    template <int R> using Block = Jets<T, K, R>;
    template <int R> using Coefficient = Vec<T> (*)[R];

    // X: the constant 1, the components of A and all products, as jets.
    template <int R> Block<R> *products(const std::int64_t *nodes) {
        auto *x = reinterpret_cast<Block<R> *>(products_.get());
        x[0] = Block<R>{};
        for (int r = 0; r < R; ++r) x[0].v[0][r] += T(1);
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < n_jets; ++s) {
                const bool single = (s & (s - 1)) == 0;
                const Operand<T> &operand = s == 0 ? call_.features : call_.feature_direction[s >> 1];
                const T *a = single ? row(operand, nodes[r], t_.dim_in) : nullptr;
                for (int i = 0; i < t_.dim_in; ++i) x[1 + i].v[s][r] = single ? read(a, i) : Vec<T>{};
            }
        const int first = 1 + t_.dim_in, n = int(t_.product_parent.size());
        for (int j = 0; j < n; ++j) {
            Block<R> product{};
            add_product<T, K, R>(product, x[t_.product_parent[j]].v, x[1 + t_.product_factor[j]].v);
            x[first + j] = product;
        }
        return x;
    }

    template <int R> void value(const std::int64_t *nodes) {
        const Block<R> *x = products<R>(nodes);
        Vec<T>(*out)[R] = reinterpret_cast<Vec<T>(*)[R]>(rows_.get());
        std::fill_n(rows_.get(), t_.dim_out * R, Vec<T>{});
        for (int row = 0; row < t_.n_rows(); ++row) {
            Block<R> sum{};
            for (int e = t_.row_start[row]; e < t_.row_start[row + 1]; ++e) add_entry<R>(sum, e, x[t_.entry_prefix[e]]);
            Vec<T> *o = out[t_.row_output[row]];
            add_top_product<T, K, R>(o, sum.v, x[1 + t_.row_factor[row]].v);
        }
        for (int r = 0; r < R; ++r) {
            T *b = call_.value + ((batch_ * call_.n_nodes + nodes[r]) * t_.dim_out) * call_.channels + channel_;
            for (int o = 0; o < t_.dim_out; ++o) store_part(b + o * call_.channels, out[o][r], width_);
        }
    }

    template <int R> inline void add_entry(Block<R> &sum, int e, const Block<R> &x) const {
        const Vec<T> *c = coefficients_.get() + std::size_t(e) * C;
        for (int s = 0; s < n_jets; ++s)
            for (int u = 0; u < C; ++u)
                if ((u & s) == u)
                    for (int r = 0; r < R; ++r) sum.v[s][r] += c[u] * x.v[s ^ u][r];
    }

    template <int R> void gradient(const std::int64_t *nodes) {
        const Block<R> *x = products<R>(nodes);
        auto *adjoint = reinterpret_cast<Block<R> *>(adjoints_.get());
        std::fill_n(adjoint, t_.n_products(), Block<R>{});
        Vec<T>(*ga)[R] = reinterpret_cast<Vec<T>(*)[R]>(rows_.get());
        Vec<T>(*g)[R] = reinterpret_cast<Vec<T>(*)[R]>(rows_.get() + t_.dim_in * R);
        std::fill_n(rows_.get(), t_.dim_in * R, Vec<T>{});
        for (int r = 0; r < R; ++r) {
            const T *cotangent = row(call_.cotangent, nodes[r], t_.dim_out);
            for (int o = 0; o < t_.dim_out; ++o) g[o][r] = read(cotangent, o);
        }
        if (call_.feature_gradient && call_.weight_gradient) sweep<R, true, true>(x, adjoint, g, ga);
        else if (call_.feature_gradient) sweep<R, true, false>(x, adjoint, g, ga);
        else sweep<R, false, true>(x, adjoint, g, ga);
        if (call_.feature_gradient) {
            propagate<R>(x, adjoint, ga);
            for (int r = 0; r < R; ++r) {
                T *out = call_.feature_gradient + ((batch_ * call_.n_nodes + nodes[r]) * t_.dim_in) * call_.channels + channel_;
                for (int i = 0; i < t_.dim_in; ++i) store_part(out + i * call_.channels, ga[i][r], width_);
            }
        }
    }

    // Monomial by monomial: adjoint of its product, top gradient of its last factor, gradient of its coefficients.
    template <int R, bool WantA, bool WantW>
    void sweep(const Block<R> *x, Block<R> *adjoint, const Vec<T> (*g)[R], Vec<T> (*ga)[R]) {
        for (int begin = 0; begin < t_.n_groups();) {
            const int factor = t_.group_factor[begin];
            const Block<R> a = x[1 + factor];
            Vec<T> top[R]{};
            int group = begin;
            for (; group < t_.n_groups() && t_.group_factor[group] == factor; ++group) {
                const int prefix = t_.group_prefix[group];
                const int first = t_.group_start[group], last = t_.group_start[group + 1];
                if constexpr (WantA) {
                    Vec<T> d[C][R]{};
                    for (int m = first; m < last; ++m) {
                        const Vec<T> *c = coefficients_.get() + std::size_t(t_.member_entry[m]) * C;
                        const Vec<T> *gm = g[t_.member_output[m]];
                        for (int u = 0; u < C; ++u)
                            for (int r = 0; r < R; ++r) d[u][r] += c[u] * gm[r];
                    }
                    add_top_product<T, K, R, C>(top, d, x[prefix].v);
                    add_product<T, K, R, C>(adjoint[prefix], d, a.v);
                }
                if constexpr (WantW) {
                    Vec<T> monomial[R]{};
                    add_top_product<T, K, R>(monomial, x[prefix].v, a.v);
                    for (int m = first; m < last; ++m) {
                        const Vec<T> *gm = g[t_.member_output[m]];
                        Vec<T> sum = gm[0] * monomial[0];
                        for (int r = 1; r < R; ++r) sum += gm[r] * monomial[r];
                        coefficient_gradient_.get()[t_.member_entry[m]] += sum;
                    }
                }
            }
            if constexpr (WantA)
                for (int r = 0; r < R; ++r) ga[factor][r] += top[r];
            begin = group;
        }
    }

    // From the products back to the components of A.
    template <int R> void propagate(const Block<R> *x, Block<R> *adjoint, Vec<T> (*ga)[R]) {
        const int first = 1 + t_.dim_in;
        for (int j = int(t_.product_parent.size()) - 1; j >= 0; --j) {
            const int parent = t_.product_parent[j], factor = t_.product_factor[j];
            const Block<R> own = adjoint[first + j];
            add_product<T, K, R>(adjoint[parent], own.v, x[1 + factor].v);
            add_top_product<T, K, R>(ga[factor], own.v, x[parent].v);
        }
        for (int i = 0; i < t_.dim_in; ++i)
            for (int r = 0; r < R; ++r) ga[i][r] += adjoint[1 + i].v[n_jets - 1][r];
    }
};

// Adds the chunks' weight gradients in their order.
template <class T> void reduce_chunks(const ContractionTable &t, const ContractionCall<T> &call, const NodeOrder &order, const T *partial) {
    const std::int64_t size = std::int64_t(t.n_paths) * call.channels, n_chunks = std::int64_t(order.chunks.size());
#pragma omp parallel for num_threads(call.n_threads) schedule(static)
    for (std::int64_t b = 0; b < call.n_batch; ++b)
        for (std::int64_t c = 0; c < n_chunks; ++c) {
            T *out = call.weight_gradient + (b * call.n_species + order.chunks[c].species) * size;
            const T *from = partial + (b * n_chunks + c) * size;
            for (std::int64_t i = 0; i < size; ++i) out[i] += from[i];
        }
}

template <class T, int K, int C> void run(const ContractionTable &t, const ContractionCall<T> &call) {
    const NodeOrder order(call.species, call.n_nodes, call.n_species);
    const std::int64_t n_chunks = std::int64_t(order.chunks.size()), width = lanes<T>;
    const std::int64_t n_blocks = (call.channels + width - 1) / width, size = std::int64_t(t.n_paths) * call.channels;
    const std::int64_t n_items = call.n_batch * n_chunks * n_blocks;
    std::vector<T> partial(call.weight_gradient ? call.n_batch * n_chunks * size : 0, T(0));
#pragma omp parallel num_threads(int(std::min<std::int64_t>(call.n_threads, std::max<std::int64_t>(n_items, 1))))
    {
        BlockKernel<T, K, C> kernel(t, call);
#pragma omp for schedule(dynamic)
        for (std::int64_t item = 0; item < n_items; ++item) {
            const std::int64_t block = item % n_blocks, c = item / n_blocks % n_chunks, b = item / n_blocks / n_chunks;
            const Chunk &chunk = order.chunks[c];
            const int channel = int(block * width);
            kernel.run(b, chunk, order.nodes.data() + chunk.first, channel, int(std::min(width, call.channels - channel)),
                       call.weight_gradient ? partial.data() + (b * n_chunks + c) * size : nullptr);
        }
    }
    if (call.weight_gradient) reduce_chunks(t, call, order, partial.data());
}

template <class T> void dispatch(const ContractionTable &t, const ContractionCall<T> &call) {
    const bool weights = call.weight_directions;
    switch (call.n_directions) {
        case 0: return run<T, 0, 1>(t, call);
        case 1: return weights ? run<T, 1, 2>(t, call) : run<T, 1, 1>(t, call);
        case 2: return weights ? run<T, 2, 4>(t, call) : run<T, 2, 1>(t, call);
    }
    throw nb::value_error("symmetric contraction: too many derivative directions");
}

std::vector<std::int32_t> integers(nb::handle array) {
    std::vector<std::int32_t> values;
    for (nb::handle value : array) values.push_back(nb::cast<std::int32_t>(value));
    return values;
}

ContractionTable make_table(nb::dict d) {
    ContractionTable t;
    t.dim_in = nb::cast<int>(d["dim_in"]), t.dim_out = nb::cast<int>(d["dim_out"]), t.n_paths = nb::cast<int>(d["n_paths"]);
    t.product_parent = integers(d["product_parent"]), t.product_factor = integers(d["product_factor"]);
    t.row_output = integers(d["row_output"]), t.row_factor = integers(d["row_factor"]);
    t.row_start = integers(d["row_start"]), t.entry_prefix = integers(d["entry_prefix"]);
    t.fold_start = integers(d["fold_start"]), t.fold_path = integers(d["fold_path"]);
    for (nb::handle value : d["fold_coefficient"]) t.fold_coefficient.push_back(nb::cast<double>(value));
    t.group_factor = integers(d["group_factor"]), t.group_prefix = integers(d["group_prefix"]);
    t.group_start = integers(d["group_start"]);
    t.member_entry = integers(d["member_entry"]), t.member_output = integers(d["member_output"]);
    return t;
}

// An operand crosses the border as (address, batch stride in elements).
template <class T> Operand<T> operand(nb::handle pair) {
    return {input<T>(nb::cast<Address>(pair[0])), nb::cast<std::int64_t>(pair[1])};
}

template <class T>
void call_kernel(const ContractionTable &t, nb::tuple sizes, Address species, nb::handle cotangent, nb::handle features, nb::handle weights,
                 nb::list feature_directions, nb::list weight_directions, Address value, Address feature_gradient, Address weight_gradient, int n_threads) {
    ContractionCall<T> call{};
    call.n_batch = nb::cast<std::int64_t>(sizes[0]), call.n_nodes = nb::cast<std::int64_t>(sizes[1]);
    call.n_species = nb::cast<std::int64_t>(sizes[2]), call.channels = nb::cast<std::int64_t>(sizes[3]);
    call.species = input<std::int64_t>(species);
    call.n_directions = int(nb::len(feature_directions));
    if (call.n_directions > max_directions) throw nb::value_error("symmetric contraction: too many derivative directions");
    call.weight_directions = nb::len(weight_directions) > 0;
    call.cotangent = operand<T>(cotangent), call.features = operand<T>(features), call.weights = operand<T>(weights);
    for (int k = 0; k < call.n_directions; ++k) {
        call.feature_direction[k] = operand<T>(feature_directions[k]);
        if (call.weight_directions) call.weight_direction[k] = operand<T>(weight_directions[k]);
    }
    call.value = output<T>(value), call.feature_gradient = output<T>(feature_gradient), call.weight_gradient = output<T>(weight_gradient);
    call.n_threads = n_threads;
    nb::gil_scoped_release release;
    dispatch<T>(t, call);
}

}  // namespace
}  // namespace atomsym

void bind_symmetric_contraction(nb::module_ &m) {
    using namespace atomsym;
    nb::class_<ContractionTable>(m, "SymmetricContractionTable").def("__init__", [](ContractionTable *self, nb::dict tables) {
        new (self) ContractionTable(make_table(tables));
    });
    m.def("symmetric_contraction_float32", &call_kernel<float>);
    m.def("symmetric_contraction_float64", &call_kernel<double>);
}
