// The logistic function of vectors.
#pragma once
#include "simd.hpp"
#include <cstdint>

namespace atomsym {

// Constants of exp: 2^n by the bits of a float, and a power series on |r| <= ln(2) / 2.
template <class T> struct Exponential;
template <> struct Exponential<float> {
    using Integer = std::int32_t;
    static constexpr int mantissa = 23, terms = 7;
    static constexpr float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    static constexpr float high = 0.693145751953125f, low = 1.428606765330187e-6f, limit = 87.0f;
};
template <> struct Exponential<double> {
    using Integer = std::int64_t;
    static constexpr int mantissa = 52, terms = 13;
    static constexpr double shift = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double high = 0.6931471803691238, low = 1.9082149292705877e-10, limit = 700.0;
};

// exp(x) for |x| <= limit, beyond it that of the limit; NaN stays NaN.
template <class T> inline Vec<T> exponential(Vec<T> x) {
    using E = Exponential<T>;
    typedef typename E::Integer Integers __attribute__((vector_size(ATOMSYM_VECTOR_BYTES)));
    const Vec<T> limit = broadcast<T>(E::limit);
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    const Vec<T> shifted = x * T(1.4426950408889634) + E::shift, n = shifted - E::shift;
    const Vec<T> r = (x - n * E::high) - n * E::low;
    Vec<T> series = broadcast<T>(1);
    for (int k = E::terms; k >= 1; --k) series = series * r * (T(1) / T(k)) + T(1);
    return (Vec<T>)((Integers)series + ((Integers)shifted << E::mantissa));
}

template <class T> inline Vec<T> logistic(Vec<T> x) { return T(1) / (T(1) + exponential<T>(-x)); }

}  // namespace atomsym
