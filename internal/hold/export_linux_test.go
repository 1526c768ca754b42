package hold

// KernelClockOf chooses the clock of SystemClock.
var KernelClockOf = kernelClockOf
