// The most multiply-adds a core can do: what kernel rates in the benchmarks are compared with.
#include "bindings.hpp"
#include "simd.hpp"

namespace {

// Tells the compiler that the value is used, so that it can neither drop nor merge chains.
template <class V> inline void keep(V &v) {
#if defined(__x86_64__)
    asm volatile("" : "+v"(v));
#elif defined(__aarch64__)
    asm volatile("" : "+w"(v));
#else
    asm volatile("" : "+m"(v));
#endif
}

// Independent chains in registers, enough of them to hide the latency of a fused multiply-add on two ports.
template <class T> double multiply_add_chains(std::int64_t rounds) {
    using namespace atomsym;
    constexpr int chains = 12;
    Vec<T> sum[chains];
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sum[c] = broadcast<T>(T(c));
    const Vec<T> factor = broadcast<T>(T(0.999)), term = broadcast<T>(T(1e-3));  // stays near 1: no subnormal numbers
    for (std::int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12  // an array that is indexed in a loop would live in memory
        for (int c = 0; c < chains; ++c) {
            sum[c] = sum[c] * factor + term;
            keep(sum[c]);
        }
    double result = 0;
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) result += double(sum[c][0]);
    return result;
}

}  // namespace

void bind_arithmetic_peak(nb::module_ &m) {
    m.attr("peak_chains") = 12;
    m.attr("vector_bytes") = ATOMSYM_VECTOR_BYTES;
    m.def("multiply_add_chains", [](bool single, std::int64_t rounds) {
        return single ? multiply_add_chains<float>(rounds) : multiply_add_chains<double>(rounds);
    });
}
