// Package gate owns visits: how a user of a resource that must outlive it
// registers its use, and how the owner asks its users to leave, waits for them,
// and learns which have stayed.
package gate
