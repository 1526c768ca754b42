package services

import "google.golang.org/protobuf/proto"

// MaxPage is the largest number of items in a page.
const MaxPage = 1000

// MaxPageBytes is the size at which a page ends early, so that it fits into a message
// that clients accept.
const MaxPageBytes = 1 << 20

// pageOf makes the messages of a page of rows, as many as fit, and reports whether more
// follow: more is whether there are further rows.
func pageOf[Row any, Message proto.Message](rows []Row, more bool, message func(Row) Message) (items []Message, follow bool) {
	bytes := 0
	for i, row := range rows {
		m := message(row)
		items = append(items, m)
		if bytes += proto.Size(m); bytes >= MaxPageBytes && i < len(rows)-1 {
			return items, true
		}
	}
	return items, more
}
