package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

// readFile reads a file of at most the given number of bytes; - is standard input, which is
// read until ctx ends.
func readFile(ctx context.Context, file string, most int64) ([]byte, error) {
	from := standardInput(ctx)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", displayName(file), most)
	}
	return b, err
}

// displayName returns the name of a file in messages.
func displayName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
