package projection_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

// BenchmarkUpdate is claims of new keys, so many in one update.
func BenchmarkUpdate(b *testing.B) {
	for _, together := range []int{1, 256, 4096} {
		b.Run(fmt.Sprint(together), func(b *testing.B) {
			d := database{projection.SQLite, "sqlite", filepath.Join(b.TempDir(), "lease-holders.db")}
			h, err := projection.Open(b.Context(), d.pool, d.dialect)
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			if _, err := h.Replace(b.Context(), at(0), paged()); err != nil {
				b.Fatal(err)
			}
			for n := 0; n < b.N; n += together {
				to := at(n + together)
				err := h.Update(b.Context(), to, func(batch *projection.Batch) error {
					for i := range together {
						row := holder("", "some-host-name/12345/0123456789abcdef", n+i+1)
						row.Key = interrex.Key{Namespace: "bench", Name: fmt.Sprintf("1a2b3c4d-%08d", n+i)}
						if err := batch.Claimed(row); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
