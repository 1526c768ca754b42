package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// chunk is how many bytes of a snapshot are buffered before they are written.
const chunk = 64 << 10

// ItemWriter writes the lists of a snapshot. A list is its length and its items;
// an item is its length and its bytes. After an error it writes no more.
type ItemWriter struct {
	// Scratch is the last item's memory: append the next one to Scratch[:0].
	Scratch []byte

	w   io.Writer
	buf []byte
	err error
}

// NewItemWriter writes to w in chunks.
func NewItemWriter(w io.Writer) *ItemWriter { return &ItemWriter{w: w} }

// Length begins a list of n items.
func (o *ItemWriter) Length(n int) {
	o.buf = binary.AppendUvarint(o.buf, uint64(n))
}

// Item writes an item, usually appended to Scratch[:0]; false if there was an error.
func (o *ItemWriter) Item(b []byte) bool {
	o.Scratch = b
	o.Length(len(b))
	o.buf = append(o.buf, b...)
	if len(o.buf) >= chunk {
		_ = o.Flush() // the error is stored
	}
	return o.err == nil
}

// Flush writes what is buffered, and returns the first error.
func (o *ItemWriter) Flush() error {
	if o.err == nil {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
	return o.err
}

// ItemReader reads what ItemWriter wrote.
type ItemReader struct {
	r    *bufio.Reader
	most int
	buf  []byte
}

// NewItemReader returns a reader of items of at most that many bytes.
func NewItemReader(r io.Reader, most int) *ItemReader {
	return &ItemReader{r: bufio.NewReaderSize(r, chunk), most: most}
}

// List reads a list, and calls fn with each item.
func (in *ItemReader) List(fn func(d *Decoder) error) error {
	n, err := binary.ReadUvarint(in.r)
	if err != nil {
		return fmt.Errorf("cannot read the length of a list: %w", err)
	}
	for i := range n {
		d, err := in.item()
		if err == nil {
			err = fn(&d)
		}
		if err == nil && !d.Done() {
			err = errors.New("it is malformed")
		}
		if err != nil {
			return fmt.Errorf("item %d of %d: %w", i, n, err)
		}
	}
	return nil
}

func (in *ItemReader) item() (Decoder, error) {
	n, err := binary.ReadUvarint(in.r)
	if err != nil {
		return Decoder{}, err
	}
	if n > uint64(in.most) {
		return Decoder{}, fmt.Errorf("%d bytes are more than the limit of an item, %d", n, in.most)
	}
	if uint64(cap(in.buf)) < n {
		in.buf = make([]byte, n)
	}
	in.buf = in.buf[:n]
	if _, err := io.ReadFull(in.r, in.buf); err != nil {
		return Decoder{}, err
	}
	return NewDecoder(string(in.buf)), nil
}

// End returns an error if anything is left.
func (in *ItemReader) End() error {
	switch _, err := in.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("bytes are left over")
	default:
		return err
	}
}
