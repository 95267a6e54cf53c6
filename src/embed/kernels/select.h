// Which kernels run here. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "embed/kernels/kernels.h"

namespace px::embed {

/// The tables this processor can run, best first; scalar is always the last.
std::vector<const Kernels*> supported_kernels();

/// The best one for "", else the one of that name. Errors: InvalidArgument (unknown or not
/// supported here).
Result<const Kernels*> select_kernels(std::string_view name);

}  // namespace px::embed
