// Checks a journal with Go's own transparency log: golang.org/x/mod/sumdb. Nothing of Ringfence is in it.
//
// usage: sumdb LOG-FOLDER VERIFIER-KEY; every entry is proven in every tree from the first to the last one.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what ...interface{}) {
	if err != nil {
		fmt.Fprintln(os.Stderr, append(what, err)...)
		os.Exit(1)
	}
}

// read finds a tile, or the full one that it is the beginning of.
func read(folder, name string, index int64, width int) []byte {
	path := filepath.Join(folder, "tile", name, fmt.Sprintf("%03d", index))
	full, err := os.ReadFile(path)
	if err == nil {
		return full
	}
	partial, err := os.ReadFile(filepath.Join(path+".p", strconv.Itoa(width)))
	check(err, "tile", name, index)
	return partial
}

type tiles struct{ folder string }

func (t tiles) Height() int                            { return 8 }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte)    {}
func (t tiles) ReadTiles(all []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range all {
		bytes := read(t.folder, strconv.Itoa(tile.L), tile.N, tile.W)
		out = append(out, bytes[:32*tile.W])
	}
	return out, nil
}

func main() {
	folder, key := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(key)
	check(err, "key")
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	check(err)
	signed, err := note.Open(text, note.VerifierList(verifier))
	check(err, "note")
	var origin, root string
	var size int64
	_, err = fmt.Sscanf(signed.Text, "%s\n%d\n%s\n", &origin, &size, &root)
	check(err, "checkpoint")
	if origin != verifier.Name() {
		check(fmt.Errorf("it is of %s", origin))
	}
	hash, err := tlog.ParseHash(root)
	check(err, "root")
	head := tlog.Tree{N: size, Hash: hash}
	// This reader believes no tile that does not lead to the signed root.
	reader := tlog.TileHashReader(head, tiles{folder})

	for n := int64(0); n < size; n++ {
		width := 256
		if left := size - n/256*256; left < 256 {
			width = int(left)
		}
		bundle := read(folder, "entries", n/256, width)
		for skip := n % 256; skip > 0; skip-- {
			bundle = bundle[2+int(binary.BigEndian.Uint16(bundle)):]
		}
		leaf := tlog.RecordHash(bundle[2 : 2+int(binary.BigEndian.Uint16(bundle))])
		proof, err := tlog.ProveRecord(size, n, reader)
		check(err, "prove entry", n)
		check(tlog.CheckRecord(proof, size, hash, n, leaf), "entry", n)
	}
	for old := int64(1); old <= size; old++ {
		before, err := tlog.TreeHash(old, reader)
		check(err, "tree", old)
		proof, err := tlog.ProveTree(size, old, reader)
		check(err, "prove tree", old)
		check(tlog.CheckTree(proof, size, hash, old, before), "tree", old)
	}
	fmt.Printf("%s: %d entries proven\n", origin, size)
}
