package wire

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Get makes the message that reads one lease.
func Get(k interrex.Key, o interrex.ReadOptions) *interrexv1.GetRequest {
	return &interrexv1.GetRequest{
		Key: k.String(), Consistency: consistency(o.Consistency), MinRevision: uint64(o.MinRevision),
	}
}

// FromGet reads what reads one lease.
func FromGet(m *interrexv1.GetRequest) (interrex.Key, interrex.ReadOptions, error) {
	var r reader
	k := r.key(m.GetKey())
	o := interrex.ReadOptions{
		Consistency: r.consistency(m.GetConsistency()),
		MinRevision: interrex.Revision(m.GetMinRevision()),
	}
	return k, o, r.err
}

// GetAnswer makes the message that answers Get.
func GetAnswer(l interrex.Lease, revision interrex.Revision) *interrexv1.GetResponse {
	return &interrexv1.GetResponse{Lease: Lease(l), Revision: uint64(revision)}
}

// FromGetAnswer reads the answer to Get.
func FromGetAnswer(m *interrexv1.GetResponse) (interrex.Lease, interrex.Revision, error) {
	l, err := FromLease(m.GetLease())
	return l, interrex.Revision(m.GetRevision()), err
}

// List makes the message that asks for a page of leases. A page size below
// zero is sent as the default.
func List(r interrex.ListRequest) *interrexv1.ListRequest {
	return &interrexv1.ListRequest{
		Namespace:   r.Namespace,
		Prefix:      r.Prefix,
		PageSize:    count(r.PageSize),
		PageToken:   r.PageToken,
		Consistency: consistency(r.Consistency),
		MinRevision: uint64(r.MinRevision),
	}
}

// FromList reads what asks for a page of leases.
func FromList(m *interrexv1.ListRequest) (interrex.ListRequest, error) {
	var r reader
	l := interrex.ListRequest{
		Namespace: r.namespace(m.GetNamespace()),
		Prefix:    m.GetPrefix(),
		PageSize:  int(m.GetPageSize()),
		PageToken: m.GetPageToken(),
		ReadOptions: interrex.ReadOptions{
			Consistency: r.consistency(m.GetConsistency()),
			MinRevision: interrex.Revision(m.GetMinRevision()),
		},
	}
	return l, r.err
}

// ListAnswer makes the message of a page of leases.
func ListAnswer(p interrex.LeasePage) *interrexv1.ListResponse {
	m := &interrexv1.ListResponse{NextPageToken: p.NextPageToken, Revision: uint64(p.Revision)}
	for _, l := range p.Items {
		m.Items = append(m.Items, Lease(l))
	}
	return m
}

// FromListAnswer reads a page of leases.
func FromListAnswer(m *interrexv1.ListResponse) (interrex.LeasePage, error) {
	p := interrex.LeasePage{NextPageToken: m.GetNextPageToken(), Revision: interrex.Revision(m.GetRevision())}
	for _, item := range m.GetItems() {
		l, err := FromLease(item)
		if err != nil {
			return interrex.LeasePage{}, err
		}
		p.Items = append(p.Items, l)
	}
	return p, nil
}

// History makes the message that asks for a key's history.
func History(k interrex.Key) *interrexv1.HistoryRequest {
	return &interrexv1.HistoryRequest{Key: k.String()}
}

// FromHistory reads what asks for a key's history.
func FromHistory(m *interrexv1.HistoryRequest) (interrex.Key, error) {
	var r reader
	return r.key(m.GetKey()), r.err
}

// HistoryAnswer makes the message of a key's history, oldest first.
func HistoryAnswer(items []interrex.PastLease, revision interrex.Revision) *interrexv1.HistoryResponse {
	m := &interrexv1.HistoryResponse{Revision: uint64(revision)}
	for _, p := range items {
		m.Items = append(m.Items, PastLease(p))
	}
	return m
}

// FromHistoryAnswer reads a key's history.
func FromHistoryAnswer(m *interrexv1.HistoryResponse) ([]interrex.PastLease, interrex.Revision, error) {
	var items []interrex.PastLease
	for _, item := range m.GetItems() {
		p, err := FromPastLease(item)
		if err != nil {
			return nil, 0, err
		}
		items = append(items, p)
	}
	return items, interrex.Revision(m.GetRevision()), nil
}

// Watch makes the message that asks for lease events.
func Watch(r interrex.WatchRequest) *interrexv1.WatchRequest {
	return &interrexv1.WatchRequest{Namespace: r.Namespace, Prefix: r.Prefix, Since: uint64(r.Since)}
}

// FromWatch reads what asks for lease events.
func FromWatch(m *interrexv1.WatchRequest) (interrex.WatchRequest, error) {
	var r reader
	w := interrex.WatchRequest{
		Namespace: r.namespace(m.GetNamespace()),
		Prefix:    m.GetPrefix(),
		Since:     interrex.Revision(m.GetSince()),
	}
	return w, r.err
}

func consistency(c interrex.Consistency) interrexv1.Consistency {
	switch c {
	case interrex.Eventual:
		return interrexv1.Consistency_CONSISTENCY_EVENTUAL
	case interrex.Strong:
		return interrexv1.Consistency_CONSISTENCY_STRONG
	}
	return interrexv1.Consistency_CONSISTENCY_UNSPECIFIED
}
