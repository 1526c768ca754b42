package interrex

// The kinds of the changes of members.
const (
	MemberAdded   = "member.added"
	MemberRemoved = "member.removed"
	MemberChanged = "member.changed"
)
