package apiserver

import "github.com/interrex/interrex"

// parse parses a well-formed key.
func parse(s string) interrex.Key {
	k, err := interrex.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return k
}
