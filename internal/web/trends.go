package web

// TrendsPage shows how it went over time.
type TrendsPage struct {
	Frame
	Repository string // full name that the filter holds
	Buckets    []Choice
	Empty      bool // nothing has run or opened in the time
	Plots      []Plot
	Workflows  []WorkflowRow
}

func (TrendsPage) template() string { return "trends.html" }

// WorkflowRow is a workflow in the list of those that fail most.
type WorkflowRow struct {
	Name, FullName, Failures, Flakes string
	Runs                             int
	Bars                             Bars
}

// Plot shows figures over time as bars, and the same figures as a table.
type Plot struct {
	ID, Title, Note string
	First, Last     string // days of its first and last bucket
	Top             string // what the full height stands for
	Series          []Series
	Bars            Bars
	Rows            []PlotRow
}

// Series is what bars of one look stand for.
type Series struct {
	Name string
	Tone Tone
}

// PlotRow is a bucket in the table of a plot.
type PlotRow struct {
	Start  string
	Values []string // one for each series
}

// Bars are drawn into a field of Width by BarsHeight units, which the page
// stretches.
type Bars struct {
	Width int
	List  []Bar
}

// BarsHeight is the height of the field of bars, in its units.
const BarsHeight = 100

// Bar is a figure of a bucket.
type Bar struct {
	X, Width  int
	Y, Height float64
	Tone      Tone
	Label     string // what shows on hover
}

// The width of a bucket and the gap between buckets, in units.
const (
	bucketWidth = 12
	bucketGap   = 2
)

// Column is one figure of a bucket with the words for it.
type Column struct {
	Value float64
	Text  string
}

// NewPlot draws the figures of the series in each bucket: one upon the other
// when they are parts of something, else side by side. Top is the least that
// the full height stands for, and show writes what it stands for.
func NewPlot(p Plot, starts []string, buckets [][]Column, stacked bool, top float64, show func(float64) string) Plot {
	for _, columns := range buckets {
		sum := 0.0
		for _, c := range columns {
			if stacked {
				sum += c.Value
			} else {
				sum = max(sum, c.Value)
			}
		}
		top = max(top, sum)
	}
	p.First, p.Last, p.Top = starts[0], starts[len(starts)-1], show(top)
	p.Bars.Width = len(buckets) * bucketWidth
	for n, columns := range buckets {
		row := PlotRow{Start: starts[n]}
		at, x, width := float64(BarsHeight), n*bucketWidth+bucketGap/2, bucketWidth-bucketGap
		if !stacked {
			width /= len(columns)
		}
		for i, c := range columns {
			row.Values = append(row.Values, c.Text)
			height := BarsHeight * c.Value / top
			y := BarsHeight - height
			if stacked {
				at -= height
				y = at
			}
			if height > 0 {
				p.Bars.List = append(p.Bars.List, Bar{X: x, Y: y, Width: width, Height: height, Tone: p.Series[i].Tone, Label: starts[n] + ": " + c.Text + " " + p.Series[i].Name})
			}
			if !stacked {
				x += width
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}
