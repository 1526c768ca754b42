package wire

// HeaderEpoch is the header of every response that has the cluster's epoch, in the
// form of interrex.Epoch. An agent that is not yet in a cluster does not send it.
const HeaderEpoch = "Interrex-Epoch"
