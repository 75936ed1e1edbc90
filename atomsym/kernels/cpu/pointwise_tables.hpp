// Tables of samplings as Python gives them: (components, rows between, rows, maps, maps of the second step), a map as
// (targets, sources, matrix). Tables of couplings: (start, first, term, second, coefficient).
#pragma once
#include "bindings.hpp"
#include "pointwise.hpp"
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <tuple>

namespace atomsym {

using MapTable = std::tuple<std::vector<int>, std::vector<int>, std::vector<double>>;
using SamplingTable = std::tuple<int, int, int, std::vector<MapTable>, std::vector<MapTable>>;
using CouplingTable =
    std::tuple<std::vector<int>, std::vector<int>, std::vector<int>, std::vector<int>, std::vector<double>>;

template <class T> std::vector<RowMap<T>> maps_of(const std::vector<MapTable> &tables) {
    std::vector<RowMap<T>> maps;
    for (const auto &[target, source, matrix] : tables) {
        maps.push_back({target, source, {}});
        for (const double value : matrix) maps.back().matrix.push_back(T(value));
    }
    return maps;
}

template <class T> Sampling<T> sampling_of(const SamplingTable &table) {
    const auto &[dim, middle, rows, first, second] = table;
    Sampling<T> sampling;
    sampling.dim = dim, sampling.middle = middle, sampling.rows = rows;
    sampling.first = maps_of<T>(first), sampling.second = maps_of<T>(second);
    std::vector<int> readers(std::size_t(dim), 0);
    for (const RowMap<T> &map : sampling.first)
        for (const int component : map.source) ++readers[std::size_t(component)];
    for (int i = 0; i < dim; ++i) {
        if (readers[std::size_t(i)] == 0) sampling.unread.push_back(i);
        sampling.shared = sampling.shared || readers[std::size_t(i)] > 1;
    }
    return sampling;
}

}  // namespace atomsym
