// Package gate owns visits: how a user of something that must outlive it says
// that it is there, and how the owner asks its users to leave, waits for them
// and learns who stayed.
package gate
