// Result<T>: a value or an Error. Member names follow std::expected. Lowest rank.
#pragma once

#include <cassert>
#include <concepts>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"

namespace px {

template <class T>
class [[nodiscard]] Result {
  public:
    using value_type = T;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
    template <class U>
    requires(std::constructible_from<T, U&&>&& std::convertible_to<U&&, T> &&
             !std::same_as<std::remove_cvref_t<U>, T> &&
             !std::same_as<std::remove_cvref_t<U>, Error> &&
             !std::same_as<std::remove_cvref_t<U>, Result>) Result(U&& value)
        : state_(std::in_place_index<0>, T(std::forward<U>(value))) {}

    bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T& value() & { return assert(has_value()), *std::get_if<0>(&state_); }
    const T& value() const& { return assert(has_value()), *std::get_if<0>(&state_); }
    /// By value: what a temporary Result held outlives it, also in `for (auto& x : f().value())`.
    T value() && { return assert(has_value()), std::move(*std::get_if<0>(&state_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    Error& error() & { return assert(!has_value()), *std::get_if<1>(&state_); }
    const Error& error() const& { return assert(!has_value()), *std::get_if<1>(&state_); }
    Error error() && { return assert(!has_value()), std::move(*std::get_if<1>(&state_)); }

    template <class U>
    T value_or(U&& other) && {
        return has_value() ? std::move(*this).value() : static_cast<T>(std::forward<U>(other));
    }

    /// Adds where it happened to a failure; a value passes through.
    Result context(std::string where) && {
        if (!has_value()) error().context.push_back(std::move(where));
        return std::move(*this);
    }

  private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    using value_type = void;

    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    void value() const { assert(has_value()); }
    Error& error() & { return assert(!has_value()), *error_; }
    const Error& error() const& { return assert(!has_value()), *error_; }
    Error error() && { return assert(!has_value()), std::move(*error_); }
    Result context(std::string where) && {
        if (error_) error_->context.push_back(std::move(where));
        return std::move(*this);
    }

  private:
    std::optional<Error> error_;
};

}  // namespace px

/// The value of a Result, or an early return of its Error. A whole statement or an initializer.
#define PX_TRY(expr) PX_TRY_NAMED(expr, PX_TRY_JOIN(px_try_result_, __COUNTER__))
#define PX_TRY_JOIN(a, b) PX_TRY_JOIN2(a, b)
#define PX_TRY_JOIN2(a, b) a##b
#define PX_TRY_NAMED(expr, name)            \
    __extension__({                         \
        auto name = (expr);                 \
        if (!name) [[unlikely]]             \
            return std::move(name).error(); \
        std::move(name).value();            \
    })
