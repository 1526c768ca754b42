// Package method owns the methods that an agent serves, each declared by its table
// and joined to its .proto, and one call of one: what it asks for, the operation
// that it becomes, and its answer.
package method
