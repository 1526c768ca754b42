// Package fairshare owns the rule by which callers divide what there is for all of them:
// each may have a quarter of what the others leave, and a little as long as there is any.
package fairshare
