// What this processor can do at best: for benchmarks, to say which share of it the encoder reaches.
#pragma once

namespace px::embed {

/// f32 GFLOPS of one thread in fused multiply-adds that touch nothing but registers, in the widest
/// vectors there are. Takes about a tenth of a second. 0 where no vector kernels run.
double measure_peak_gflops();

}  // namespace px::embed
