// Progress on a terminal: one line at the bottom with share, rate and time left; nothing when
// stderr is no terminal.
#pragma once

#include <memory>

#include "base/progress.h"

namespace px::app {

/// A bar on stderr when it is a terminal, else a line every few seconds for long stages.
std::unique_ptr<Progress> make_progress();

}  // namespace px::app
