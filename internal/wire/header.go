package wire

// HeaderEpoch is the header of every answer that has the cluster's epoch, as
// interrex.Epoch writes it. An agent that is in no cluster yet sends none.
const HeaderEpoch = "Interrex-Epoch"
