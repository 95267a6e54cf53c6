// Writes structs in Thrift's compact protocol: page headers and the footer of Parquet.
// Source: apache/thrift, thrift-compact-protocol.md. Not thread-safe.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "columnar/byte_buffer.h"

namespace px::columnar {

/// Fields must be written in rising id order; begin_* and end_struct pair up. The outermost struct
/// is open from the start and closed by the last end_struct.
class ThriftWriter {
  public:
    enum class Type : uint8_t {
        True = 1,
        False = 2,
        I16 = 4,
        I32 = 5,
        I64 = 6,
        Binary = 8,
        List = 9,
        Struct = 12
    };

    explicit ThriftWriter(ByteBuffer& out) : out_(out) {}

    void field_bool(int16_t id, bool value) { header(id, value ? Type::True : Type::False); }
    void field_i16(int16_t id, int16_t value) {
        header(id, Type::I16);
        out_.append_zigzag(value);
    }
    void field_i32(int16_t id, int32_t value) {
        header(id, Type::I32);
        out_.append_zigzag(value);
    }
    void field_i64(int16_t id, int64_t value) {
        header(id, Type::I64);
        out_.append_zigzag(value);
    }
    void field_binary(int16_t id, std::string_view value) {
        header(id, Type::Binary);
        element_binary(value);
    }
    void begin_struct(int16_t id) {
        header(id, Type::Struct);
        begin_element();
    }
    /// An empty struct: a member of a union without content.
    void field_empty(int16_t id) {
        begin_struct(id);
        end_struct();
    }
    void begin_list(int16_t id, Type element, size_t count) {
        header(id, Type::List);
        const auto type = static_cast<uint8_t>(element);
        if (count < 15) {
            out_.append_byte(static_cast<uint8_t>(count << 4 | type));
        } else {
            out_.append_byte(static_cast<uint8_t>(0xF0 | type));
            out_.append_varint(count);
        }
    }
    void element_i32(int32_t value) { out_.append_zigzag(value); }
    void element_binary(std::string_view value) {
        out_.append_varint(value.size());
        out_.append(value);
    }
    /// Opens a struct that is an element of a list.
    void begin_element() {
        outer_.push_back(last_);
        last_ = 0;
    }
    void end_struct() {
        out_.append_byte(0);
        if (outer_.empty()) return;
        last_ = outer_.back();
        outer_.pop_back();
    }

  private:
    void header(int16_t id, Type type) {
        const int step = id - last_;
        if (step > 0 && step <= 15) {
            out_.append_byte(static_cast<uint8_t>(step << 4 | static_cast<uint8_t>(type)));
        } else {
            out_.append_byte(static_cast<uint8_t>(type));
            out_.append_zigzag(id);
        }
        last_ = id;
    }

    ByteBuffer& out_;
    int16_t last_ = 0;
    std::vector<int16_t> outer_;
};

}  // namespace px::columnar
