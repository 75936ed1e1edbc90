// Finds the edges of every atom of a batch. Results are kept as one 4-byte entry number per edge until the caller has
// allocated the output, which `fill` then writes in the order of the receivers.
#pragma once
#include "neighbor_grid.hpp"

#include <algorithm>
#include <vector>

namespace atomsym {

// Storage of one thread: blocks that never move, so that atoms can point into them.
class HitPool {
  public:
    // Room for at least `count` numbers; `commit` keeps the first so many of them.
    std::uint32_t *reserve(std::size_t count) {
        if (blocks_.empty() || used_ + count > blocks_.back().size()) {
            const std::size_t grown = blocks_.empty() ? first_block : std::min(2 * blocks_.back().size(), largest_block);
            blocks_.emplace_back(std::max(count, grown));
            used_ = 0;
        }
        return blocks_.back().data() + used_;
    }
    void commit(std::size_t count) { used_ += count; }
    // True if the next reservation of this size has to allocate; the moment to look at the memory used so far.
    bool full(std::size_t count) const { return blocks_.empty() || used_ + count > blocks_.back().size(); }

  private:
    static constexpr std::size_t first_block = 1 << 14, largest_block = 1 << 22;
    std::vector<Buffer<std::uint32_t>> blocks_;
    std::size_t used_ = 0;
};

struct Scratch;
struct Budget;

struct Hits {
    const std::uint32_t *entry;  // entries of the grid of the atom's system
    std::int64_t count;
};

class NeighborSearch {
  public:
    // system_index may be null: one system. memory_limit bounds images, hits and output together, in bytes.
    NeighborSearch(Atoms atoms, std::int64_t n_atoms, const double *cell, const bool *pbc,
                   const std::int64_t *system_index, std::int64_t n_systems, double cutoff, double memory_limit,
                   int n_threads);

    Status status = Status::ok;
    std::int64_t culprit = 0;  // atom, or system for singular_cell
    double wanted = 0;         // images, or estimated edges, that did not fit
    std::int64_t n_edges = 0;
    std::int64_t working_bytes = 0;  // entries and hits, without the output

    // receiver, sender: n_edges each; shift: 3 n_edges; offsets: n_atoms + 1, first edge of each receiver.
    void fill(std::int64_t *receiver, std::int64_t *sender, std::int32_t *shift, std::int64_t *offsets) const;

  private:
    void search(double memory_limit);
    bool search_bin(const Grid &grid, std::int64_t bin, HitPool &pool, Scratch &scratch, Budget &budget);

    Atoms atoms_;
    std::int64_t n_atoms_;
    double cutoff_;
    int n_threads_;
    std::vector<Grid> grids_;
    Buffer<Image> wrap_;
    Buffer<Hits> hits_;
    std::vector<HitPool> pools_;
};

}  // namespace atomsym
