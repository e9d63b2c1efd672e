//===- FunctionRef.h - A function to call, owned by someone else *- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace mlsys::rt {

template <typename Signature> class FunctionRef;

/// Refers to a callable that outlives it, as parameters do. Unlike
/// std::function it never allocates.
template <typename Result, typename... Args> class FunctionRef<Result(Args...)> {
public:
  template <typename Callable>
    requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef>)
  FunctionRef(Callable &&callable)
      : object(const_cast<void *>(static_cast<const void *>(std::addressof(callable)))),
        call([](void *object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<Callable> *>(object))(
              std::forward<Args>(args)...);
        }) {}

  Result operator()(Args... args) const { return call(object, std::forward<Args>(args)...); }

private:
  void *object;
  Result (*call)(void *, Args...);
};

} // namespace mlsys::rt
