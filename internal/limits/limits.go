// Package limits owns the limits that more than one package checks, and the names
// that fill in what a key leaves out.
package limits

import "time"

// Of the names of leases, holders and resources, in bytes.
const (
	MaxNamespace = 63
	MaxName      = 512
	MaxHolder    = 256 // and of a pin's owner
	MaxTypePart  = 63  // each part of a resource's type
	MaxUID       = 64  // of a uid, generation or version
	MaxRequestID = 64
	// MaxRulePrefix is of the prefix of a rule of access.
	MaxRulePrefix = 512
)

// DefaultNamespace is the namespace of a key without one, and the partition and
// namespace of a resource without them.
const DefaultNamespace = "default"

// MaxBlock is how long a read may wait for a change.
const MaxBlock = 10 * time.Minute

// Of webhooks.
const (
	MaxWebhooks       = 16
	MinWebhookTimeout = 100 * time.Millisecond
	MaxWebhookTimeout = 30 * time.Second
	// DefaultWebhookTimeout is the timeout of a hook that does not set one.
	DefaultWebhookTimeout = 2 * time.Second
)

// Of an entry of the log. A batch is full once it has MaxOperations, or its
// operations reach BatchBytes; the last of them may have MaxOperationBytes. So no
// entry is longer than MaxEntryBytes.
const (
	MaxOperations     = 1024
	BatchBytes        = 1 << 20
	MaxOperationBytes = 1 << 20
	MaxEntryBytes     = BatchBytes + MaxOperationBytes + 64
	MaxFilePart       = 256 << 10 // of a snapshot file that is restored
)

// MaxGroup is the maximum number of operations in a group, MaxMinted that of the
// bytes that are generated for one operation.
const (
	MaxGroup  = 64
	MaxMinted = 64
)

// MaxCaller is the maximum number of bytes in a caller's name, MaxOrigin that in the
// address of one without a name.
const (
	MaxCaller = 256
	MaxOrigin = 128
)

// MaxEndings is the maximum number of due items that one entry ends, over all
// tables.
const MaxEndings = 1000

// MinTrailingLogs is the minimum number of entries that stay in the log behind a
// snapshot. With fewer than raft.snapshot-threshold, a follower that lags a little can
// need one snapshot after another (hashicorp/raft#697).
const MinTrailingLogs = 10240

// MaxVoters is the number of voters up to which agents are given votes: more would make
// every write wait for more disks.
const MaxVoters = 5

// DefaultJoinTTL is how long a join token is valid unless its request says
// otherwise, MinJoinTTL and MaxJoinTTL bound it; all in cluster time. MaxJoinUses
// bounds how many agents may use one.
const (
	DefaultJoinTTL = time.Hour
	MinJoinTTL     = time.Second
	MaxJoinTTL     = 30 * 24 * time.Hour
	MaxJoinUses    = 1000

	// MinAccessTTL and MaxAccessTTL bound the end of an access token, in cluster time.
	MinAccessTTL = time.Second
	MaxAccessTTL = 10 * 365 * 24 * time.Hour
)

// MinRequestBytes is the least memory with which an agent serves requests.
const MinRequestBytes = 64 << 20
