// Package compare owns the comparison of replicas: when it is due, the hashes of this
// agent's state and of the others', the verdict on them, and what is known of the last one.
//
// An entry of the log says at which point states are compared. Each agent hashes its own,
// asks every other member for its hashes, and judges for itself: one that differs from a
// majority of the voters condemns its own state. Nothing of it is in the replicated state,
// so no agent has to believe another's verdict, and a leader's state counts like any other.
package compare
