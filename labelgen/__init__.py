"""Build HDR training sets from exposure brackets, without ground truth.

Each command of the `labelgen` program is one function with the same options and defaults.

Make a dataset:

- `labelgen.discovery.scan.scan` finds the brackets in a folder of photos.
- `labelgen.pipeline.build.build` turns them into a dataset of training samples.
- `labelgen.pipeline.label_bracket.label` labels one bracket and writes pictures of the result.
- `labelgen.pipeline.label_brackets.label_all` labels all brackets of a folder.
- `labelgen.core.recipe.load_recipe` returns a recipe: all settings of the method.
- `labelgen.simulate.simulate` writes brackets with known truth.
- `labelgen.scoring.score.score` scores labels against it.
- `labelgen.pipeline.demo.demo` simulates brackets and builds a dataset from them.

Look at a dataset:

- `labelgen.dataset.reader.Dataset` reads it.
- `labelgen.dataset.info.info` summarises it.
- `labelgen.dataset.verify.verify` checks every byte of it.
- `labelgen.pipeline.repair.repair` builds damaged parts again.
- `labelgen.report.report` writes a page about it.

Share a dataset:

- `labelgen.share.card.card` describes it: README, Croissant metadata and checksums.
- `labelgen.share.pack.pack`, `labelgen.share.merge.merge`, `labelgen.share.split.split` and
  `labelgen.share.sample.sample` copy samples into other datasets.
- `labelgen.share.get.get` downloads one and checks it.
- `labelgen.share.layouts.export` writes samples as tar files or image folders.

The folders follow the data; none imports from a later one:

- `core`: arrays, brackets, camera responses, recipes, files and errors, which all others use.
- `photos`: reads the headers and pixels of image files.
- `alignment`: finds displacements between the frames of a bracket.
- `dataset`: the HDF5 format, its writer and its reader.
- `discovery`: groups photos into brackets and reads their exposures.
- `calibration`: estimates camera responses, noise and true exposures from all brackets.
- `labels`: detects motion, fuses frames into a label, and weights each pixel by trust.
- `samples`: cuts patches and augments them with synthetic light and motion.
- `simulate`: moving scenes, and cameras that render them, for brackets with known truth.
- `pipeline`: runs a whole build on many cores, resumes and repairs it.
- `share`, `report`: what can be done with a dataset.
- `scoring`: scores labels against known truth.
- `cli`: the command line.
"""

__version__ = "0.1.0"
