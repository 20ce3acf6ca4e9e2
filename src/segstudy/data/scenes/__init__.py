"""The scenes that ``segstudy.data.scenes.synthetic`` writes: streets, endoscopies and people, drawn from a generator alone."""
