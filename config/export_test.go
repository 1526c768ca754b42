package config

// MaxFile is the largest file that is read.
const MaxFile = maxFile

// Parse overlays c with a YAML document.
func Parse(data []byte, c *Config) error {
	_, err := parse(data, c)
	return err
}
