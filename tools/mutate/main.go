// Mutate owns the faults that tests must notice: it shows that tests fail when the
// rule that they are cited for is broken.
// It puts each fault of faults.txt into a copy of one file, runs the test that
// must fail, and says whether the fault was killed or survived.
package main

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// maxUnkilled is how many faults of the file may have a reason in place of a
// test.
const maxUnkilled = 10

// perHour is how far the beginning of a sample moves in an hour: about as many
// faults as a sample of 40 s tries.
const perHour = 8

func main() {
	sample := flag.Duration("sample", 0, "begin no more faults after this time; which come first changes every hour. 0 runs all")
	from := flag.Int("from", -1, "begin at this fault, counted from 0")
	workers := flag.Int("p", 2, "faults to try at the same time")
	only := flag.String("only", "", "run the faults whose rule, file or test matches this expression")
	flag.Parse()
	if err := run(*sample, *from, *workers, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(sample time.Duration, from, workers int, only string) error {
	root, err := filepath.Abs("..") // the tools are a module of their own, below the one that is tested
	if err != nil {
		return err
	}
	all, err := read(filepath.Join(root, "tools/mutate/faults.txt"), root)
	if err != nil {
		return err
	}
	faults, err := choose(all, only)
	if err != nil {
		return err
	}
	if from < 0 && sample > 0 {
		from = int(time.Now().Unix()/3600) * perHour
	}
	from = max(from, 0) % len(faults)
	faults = append(faults[from:len(faults):len(faults)], faults[:from]...)
	if sample > 0 {
		fmt.Printf("a sample of %v, from fault %d of %d\n", sample, from, len(faults))
	} else if err := passes(root, faults); err != nil {
		return err
	}
	return try(&bench{root: root}, faults, sample, workers)
}

// choose leaves out the faults without a test, and those that only does not match.
func choose(all []fault, only string) ([]fault, error) {
	matches, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	var faults []fault
	unkilled := 0
	for _, f := range all {
		if f.survives != "" {
			unkilled++
		} else if matches.MatchString(f.rule + "\n" + f.file + "\n" + f.test) {
			faults = append(faults, f)
		}
	}
	if unkilled > maxUnkilled {
		return nil, fmt.Errorf("the file has %d faults that no test notices, and %d are allowed: write tests for some", unkilled, maxUnkilled)
	}
	if len(faults) == 0 {
		return nil, fmt.Errorf("no fault matches %q", only)
	}
	return faults, nil
}

// try runs the faults and fails when one of them is not killed.
func try(b *bench, faults []fault, sample time.Duration, workers int) error {
	began := time.Now()
	var (
		mu               sync.Mutex
		next, tried, bad int
		group            sync.WaitGroup
	)
	for range workers {
		group.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(faults) || sample > 0 && i > 0 && time.Since(began) > sample {
					return
				}
				start := time.Now()
				result, output := b.run(faults[i])
				mu.Lock()
				tried++
				f := faults[i]
				fmt.Printf("%-8s %5.1fs  %s:%d  %s  (%s)\n", result, time.Since(start).Seconds(), f.file, f.line, path.Join(f.folder, f.test), f.rule)
				if result != killed {
					bad++
					fmt.Print(output)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if bad > 0 {
		return fmt.Errorf("%d of %d faults were not killed", bad, tried)
	}
	fmt.Printf("%d faults, all killed, in %v\n", tried, time.Since(began).Round(time.Second))
	return nil
}
