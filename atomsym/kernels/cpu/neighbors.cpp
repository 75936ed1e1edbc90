// Python side of the neighbor search, and the order of edges by sender.
#include "bindings.hpp"
#include "neighbor_search.hpp"

#include <vector>

namespace {

using atomsym::NeighborSearch;

void fill(const NeighborSearch &s, Address receiver, Address sender, Address shift, Address offsets) {
    s.fill(output<std::int64_t>(receiver), output<std::int64_t>(sender), output<std::int32_t>(shift),
           output<std::int64_t>(offsets));
}

// Edge numbers ordered by sender, ties by edge number: a stable counting sort, one stretch of edges per thread. With
// both directions of every edge present, a sender has as many edges as a receiver: offsets are those of receivers.
void order_by_sender(Address sender_address, std::int64_t n_edges, std::int64_t n_atoms, Address offsets_address,
                     Address order_address, int n_threads) {
    const auto *sender = input<std::int64_t>(sender_address), *offsets = input<std::int64_t>(offsets_address);
    auto *order = output<std::int64_t>(order_address);
    const int parts = n_edges < 100000 ? 1 : n_threads;
    std::vector<std::vector<std::int64_t>> next(std::size_t(parts), std::vector<std::int64_t>(std::size_t(n_atoms), 0));
    auto first = [&](int t) { return n_edges * t / parts; };
    atomsym::prefer_huge_pages(order, std::size_t(n_edges) * sizeof(*order));
    if (parts > 1) {
#pragma omp parallel for num_threads(parts) schedule(static, 1)
        for (int t = 0; t < parts - 1; ++t) {
            for (std::int64_t e = first(t); e < first(t + 1); ++e) ++next[std::size_t(t + 1)][std::size_t(sender[e])];
        }
    }
    for (std::int64_t n = 0; n < n_atoms; ++n) {
        std::int64_t running = offsets[n];
        for (auto &part : next) part[std::size_t(n)] = running += part[std::size_t(n)];
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int t = 0; t < parts; ++t) {
        std::int64_t *place = next[std::size_t(t)].data();
        for (std::int64_t e = first(t); e < first(t + 1); ++e) order[place[sender[e]]++] = e;
    }
}

}  // namespace

void bind_neighbors(nb::module_ &m) {
    nb::class_<NeighborSearch>(m, "NeighborSearch")
        .def("__init__",
             [](NeighborSearch *self, Address positions, bool single_precision, std::int64_t n_atoms, Address cell,
                Address pbc, Address system_index, std::int64_t n_systems, double cutoff, double memory_limit,
                int n_threads) {
                 nb::gil_scoped_release release;
                 new (self) NeighborSearch({input<void>(positions), single_precision}, n_atoms, input<double>(cell),
                                           input<bool>(pbc), input<std::int64_t>(system_index), n_systems, cutoff,
                                           memory_limit, n_threads);
             })
        .def_prop_ro("status", [](const NeighborSearch &s) { return int(s.status); })
        .def_ro("culprit", &NeighborSearch::culprit)
        .def_ro("wanted", &NeighborSearch::wanted)
        .def_ro("n_edges", &NeighborSearch::n_edges)
        .def_ro("working_bytes", &NeighborSearch::working_bytes)
        .def("fill", &fill, nb::call_guard<nb::gil_scoped_release>());
    m.def("order_by_sender", &order_by_sender, nb::call_guard<nb::gil_scoped_release>());
}
