// Int8 for processors without dot products of quads: whole numbers throughout, so that their sums
// are exact and equal to the reference. Included after body.h and a definition of tile_int8, rows
// of inputs against one panel of kInt8Panel columns.
#pragma once

namespace px::embed {

namespace {

// Scales a panel's sums back to floats: bias + scales · (sum − offset), then what follows.
inline void finish_int8(const ProductArgs& g, size_t row, size_t first, size_t columns,
                        const int32_t* sums) {
    float* c = g.c + row * g.n + first;
    alignas(64) float values[kPanelMax];
    for (size_t j = 0; j < columns; ++j) {
        const float exact = static_cast<float>(sums[j] - g.w_offset[first + j]);
        values[j] = exact * (g.a_scale[row] * g.w_scale[first + j]) + g.bias[first + j];
    }
    if (g.after == After::Gelu) {
        for (size_t j = columns; j < round_up(columns, kWidth); ++j) values[j] = 0.0F;
        for (size_t j = 0; j < columns; j += kWidth)
            vec_store(values + j, short_gelu_vec(vec_load(values + j)));
    }
    const bool add = g.after == After::Add;
    for (size_t j = 0; j < columns; ++j) c[j] = add ? c[j] + values[j] : values[j];
}

void product_int8(const ProductArgs& g) {
    const size_t k = g.words * 4;
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(g.a);
    for (size_t row0 = 0; row0 < g.rows; row0 += kBlockRows) {
        const size_t end = smaller(g.rows, row0 + kBlockRows);
        for (size_t first = 0; first < g.n; first += kInt8Panel) {
            const int8_t* w = static_cast<const int8_t*>(g.w) + first * k;
            const size_t columns = smaller(kInt8Panel, g.n - first);
            for (size_t row = row0; row < end; row += 2) {
                int32_t sums[2 * kInt8Panel];
                const bool two = row + 1 < end;
                (two ? tile_int8<2> : tile_int8<1>)(bytes + row * k, k, w, sums);
                finish_int8(g, row, first, columns, sums);
                if (two) finish_int8(g, row + 1, first, columns, sums + kInt8Panel);
            }
        }
    }
}

void encode_row_int8(const EncodeArgs& args, size_t row) {
    const size_t width = args.width;
    const size_t padded = round_up(width, 4);
    const float* values = args.x + row * width;
    uint8_t* out = reinterpret_cast<uint8_t*>(args.out) + row * padded;
    const size_t whole = width / kWidth * kWidth;
    Vec top = vec_set(0.0F);
    for (size_t i = 0; i < whole; i += kWidth) {
        const Vec v = vec_load(values + i);
        top = vec_max(top, vec_max(v, vec_sub(vec_set(0.0F), v)));
    }
    alignas(64) float lanes[kWidth];
    vec_store(lanes, top);
    float largest = largest_of(lanes, kWidth);
    for (size_t i = whole; i < width; ++i) {
        const float size = values[i] < 0 ? -values[i] : values[i];
        largest = size > largest ? size : largest;
    }
    args.scale[row] = largest / args.limit;
    const float inverse = largest > 0 ? 1.0F / args.scale[row] : 0.0F;
    for (size_t i = 0; i < width; ++i) {
        // Adding 1.5 · 2^23 rounds to the nearest whole number, halves to even.
        const float shifted = values[i] * inverse + 12582912.0F;
        out[i] = static_cast<uint8_t>(128 + static_cast<int32_t>(shifted - 12582912.0F));
    }
    for (size_t i = width; i < padded; ++i) out[i] = 128;
}

}  // namespace

}  // namespace px::embed
