// Package lives owns what is known of the life of each worker of an agent: its starts
// and their errors, why it ended, when it is started next, and whether it is stopped
// alone or together with the others.
package lives
