"""The scenes that ``segstudy.data.synthetic`` writes: streets, endoscopies and people, drawn from a generator alone."""
