"""How sure a number is: intervals, comparisons and planning from counts that add up. NumPy and SciPy alone.

Everything here takes the same two things.

* *networks*: a mapping ``{seed: counts}``. ``counts`` is ``(n, ...)``, one array of additive counts an image, the same
  ``n`` images in the same order for every seed. Masks of unknown origin are one network, ``{0: counts}``.
* a *function* of counts merged over images, as those of :mod:`segstudy.measures`: ``(..., c, c)`` to a number ``(...)``,
  or to several ``(..., c)``, one for each class say. It works on any leading axes and gives NaN where undefined.

A mean of values that each image has (which is no function of merged counts) is had by counting ``(value, 1)`` for every
image that has one and ``(0, 0)`` for others, with ``lambda merged: merged[..., 0] / merged[..., 1]``.

=============================  ======================================================================
:mod:`.resampling`             merged counts of resampled images, groups of images, influence of each image
:mod:`.variance`               the noise of a number, split by images and seeds; half-width and p-value from it
:mod:`.intervals`              a number with its interval, over images or over images and seeds
:mod:`.exchange`               permutation tests over images, over networks
:mod:`.comparison`             variant against baseline: difference, interval, tests, Holm, verdict
:mod:`.equivalence`            equivalence and non-inferiority, P(A > B), simultaneous intervals, ranks
:mod:`.unseen`                 unseen failures, seeds of two kinds, median, trimmed mean, P(failure)
:mod:`.folds`                  folds and repeated splits, by the corrected variance
:mod:`.datasets`               several datasets as the unit: Friedman, Nemenyi, Bayesian signed-rank
:mod:`.planning`               noise floor; how many seeds and images a difference needs
:mod:`.sequential`             seeds one by one, with the error under control
=============================  ======================================================================

Which methods, why, and the measured coverage and error rates: ``docs/explanation/uncertainty.md``.
"""
